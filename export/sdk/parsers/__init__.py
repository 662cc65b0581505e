"""What the SDK's tools print and write, as plain data. Texts in, dataclasses out; nothing runs."""
