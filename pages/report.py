from cnnviz.app import shell

shell.show("report")
