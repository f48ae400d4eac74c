"""The errors a user may meet; each message names the cause and the remedy in one line."""


class CnnvizError(Exception):
    """Shown to the user as it is: one line, no traceback."""


class ConfigError(CnnvizError):
    """A setting that cannot be trained."""


class DataError(CnnvizError):
    """A data set that is missing, broken or cannot be fetched."""


class ImageError(CnnvizError):
    """A file that is not a picture cnnviz can show."""


class CheckpointError(CnnvizError):
    """A checkpoint that is missing, damaged or of another network."""


class StoreError(CnnvizError):
    """A run or a store that is not there, or is not cnnviz's."""


class UnreachableError(StoreError):
    """A server that does not answer now: the same may succeed later."""


class ClusterError(CnnvizError):
    """A Ray cluster that does not answer now, or has no node to train on: the same may succeed later."""
