from cnnviz.app import shell
from cnnviz.app.curves.page import page

shell.show(page)
