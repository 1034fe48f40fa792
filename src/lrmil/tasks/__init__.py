"""What is predicted of a slide: how a label is read, learned, answered, written and measured."""
