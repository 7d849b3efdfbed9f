"""2f-78: An exception whose message is a gigabyte."""


class Huge(Exception):
    def __str__(self):
        return "x" * (1 << 28)


raise Huge
