"""Reference pictures: what a job says of them, and how they come to be safe objects of the store."""
