// On a narrow screen the sidebar has a button of Streamlit's that closes it, of which the server hears nothing: the next
// "New experiment" would then close the form once more, unseen. So that button presses ours, too.
if (!window.cnnvizForm) {
  window.cnnvizForm = true;
  document.addEventListener("click", (event) => {
    const closes = event.target.closest('[data-testid="stSidebarCollapseButton"]');
    const isOpen = document.querySelector(".st-key-form_is_open");
    // Streamlit has a second, hidden one, which does nothing.
    const ours = [...document.querySelectorAll(".st-key-open_form button")];
    if (closes && isOpen) ours.find((button) => button.offsetWidth)?.click();
  });
}
