"""`python -m sio_stack`: what `make run` starts."""

from sio_stack.cli import main

if __name__ == "__main__":
    main()
