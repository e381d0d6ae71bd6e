"""Reports: pictures, HTML galleries, folders of results, tables."""
