"""The version, and where the package comes from: all that model cards, metadata, links and the site say of it."""
__version__ = '0.1.0'
REPOSITORY = ''  # the public address, https://github.com/OWNER/NAME, as soon as there is one
SOURCE = f'git+{REPOSITORY}' if REPOSITORY else ''  # what pip installs; 'timm-res2net' as soon as an index has it
