"""Numbers in sentences."""


def counted(number: int, noun: str) -> str:
    """`1 picture`, `2 pictures`, `2 boxes`."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun}{'es' if noun.endswith('x') else 's'}"
