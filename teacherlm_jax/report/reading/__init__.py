"""A page for reading and rating explanations, and the report on the ratings that it saves."""
