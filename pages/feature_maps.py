from cnnviz.app import shell
from cnnviz.app.maps.page import page

shell.show(page)
