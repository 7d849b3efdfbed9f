"""2f-78: An exception whose class has no ordinary name."""


class Meta(type):
    def __getattribute__(cls, name):
        raise KeyboardInterrupt


class Odd(BaseException, metaclass=Meta):
    pass


raise Odd
