from scenes.story import story

__all__ = ["story"]
