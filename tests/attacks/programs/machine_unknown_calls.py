"""2f-75: Tries system calls that did not exist when this was written."""

for number in (425, 426, 427, 451, 460, 462, 470, 500, 548, 1000):
    attempt_call(f"system call {number}", number, 8, 0, 0, 0, 0, 0)
