// On a narrow screen the sidebar has a button of Streamlit's that closes it, of which the server hears nothing: the next
// "New experiment" would then close the form once more, unseen. So that button presses ours, too.
if (!window.cnnvizForm) {
  window.cnnvizForm = true;
  document.addEventListener("click", (event) => {
    const closes = event.target.closest('[data-testid="stSidebarCollapseButton"]');
    const isOpen = document.querySelector(".st-key-form_is_open");
    if (closes && isOpen) document.querySelector(".st-key-open_form button")?.click();
  });
}
