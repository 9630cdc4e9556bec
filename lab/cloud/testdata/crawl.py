"""Crawl the metadata service at argv[1] as cloud-init's Ec2 datasource does."""

import json
import sys

from cloudinit.sources import DataSourceEc2 as ec2

config = {"datasource": {"Ec2": {
    "metadata_urls": [sys.argv[1]],
    "strict_id": False,
    "max_wait": 5,
    "timeout": 2,
}}}
source = ec2.DataSourceEc2(config, None, None)
source.ds_cfg = config["datasource"]["Ec2"]
# As on Yandex Cloud, whatever machine runs this test.
source._cloud_name = ec2.CloudNames.UNKNOWN
found = source.crawl_metadata()
found["version"] = source.get_metadata_api_version()
found["user-data"] = found["user-data"].decode()
json.dump(found, sys.stdout, sort_keys=True)
