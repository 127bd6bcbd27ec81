"""The Developer area: pages where people see to their keys. Every action is a plain form; scripts only add comfort."""

from keystead.developer_area.app import create_developer_area

__all__ = ["create_developer_area"]
