"""cnnviz: streamlit run app.py"""

import streamlit as st

from cnnviz.app import shell
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


if __name__ == "__main__":  # not in processes that multiprocessing spawns, which run this file, too
    main()
