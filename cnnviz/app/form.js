// On a narrow screen the sidebar has a button of Streamlit's that closes it, of which the server hears nothing. What is
// open for the server and closed on the screen is opened there by "New experiment", which would close it for the server.
if (!window.cnnvizForm) {
  window.cnnvizForm = true;
  const opened = (event) => {
    const isClosed = document.querySelector('[data-testid="stSidebar"][data-collapsed="true"]');
    const expand = document.querySelector('[data-testid="stExpandSidebarButton"]');
    if (!event.target.closest(".st-key-open_form") || !isClosed || !expand) return;
    if (!document.querySelector(".st-key-form_is_open")) return;
    event.stopPropagation();
    expand.click();
  };
  document.addEventListener("click", opened, true);
}
