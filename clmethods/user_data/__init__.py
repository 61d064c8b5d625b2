"""The user's own data as planning sees it: manifests, folders, cached weights."""
