"""The path of a packet, as data: tables in packet order, flows as values, two written forms."""
