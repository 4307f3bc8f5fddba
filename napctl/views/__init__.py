"""What people see of each document: pure functions from a document and a page to lines."""
