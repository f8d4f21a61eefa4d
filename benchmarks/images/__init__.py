"""What uenv images cost and save: building them, and starting JupyterLab from them."""
