"""cnnviz: streamlit run app.py"""

import streamlit as st

from cnnviz.app import first_paint, shell
from cnnviz.app.home import opening


def main() -> None:
    page = shell.begin()
    if page.title == "Home":
        opening.first()
    shell.load()

    from cnnviz.app import launch  # these take seconds the first time, and load() has said so
    from cnnviz.app.watching.pill import pill

    with st.sidebar:
        launch.launcher()
    pill(page)
    with shell.readable_errors():
        page.run()


if __name__ == "__main__":  # as the script of a page that somebody looks at
    main()
elif __name__ == "app":  # as the server's module; processes that multiprocessing spawns run this file, too
    app = st.App(__file__, routes=first_paint.routes())
