"""2f-78: An exception whose message never ends."""


class Endless(Exception):
    def __str__(self):
        while True:
            pass


raise Endless
