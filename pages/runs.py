from cnnviz.app import shell
from cnnviz.app.runs.page import page

shell.show(page)
