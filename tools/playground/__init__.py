"""The playground: a page that runs networks of the course in the browser, with what explains them."""
