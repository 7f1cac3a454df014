"""Speaks the EC2 query API to a stand-in, with Python's standard library alone, so that it works beside any LocalStack.

    python3 ec2.py health [ENDPOINT]     which services are up; exit 1 if none answers

The signature is a made-up one: LocalStack reads the service and the region from it and verifies nothing. No use against AWS.
"""
import json
import sys
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ElementTree

ENDPOINT = "http://127.0.0.1:4566"
REGION = "eu-west-1"
DEADLINE_SECONDS = 30


class Refused(Exception):
    """An answer that is an error; `code` is EC2's, such as `Resource.AlreadyAssociated`."""

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code = code


class Ec2:
    """One endpoint's EC2 service."""

    def __init__(self, endpoint=ENDPOINT, region=REGION):
        self.endpoint = endpoint
        self.region = region

    def call(self, action, **parameters):
        """Makes one call and returns the answer's root, without namespaces: `root.findtext("./vpc/vpcId")`.

        A parameter with a dot in its name goes in as `**{"InstanceId.1": "i-0aaa"}`. Raises `Refused`, or `OSError`.
        """
        form = {"Action": action, "Version": "2016-11-15", **parameters}
        scope = f"test/20260101/{self.region}/ec2/aws4_request"
        request = urllib.request.Request(
            self.endpoint,
            data=urllib.parse.urlencode(form).encode(),
            headers={"Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"},
        )
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE_SECONDS) as answer:
                return without_namespaces(answer.read())
        except urllib.error.HTTPError as error:
            root = without_namespaces(error.read())
            raise Refused(root.findtext(".//Code"), root.findtext(".//Message")) from error

    def address(self, allocation_id):
        """Where an elastic IP is: `(association_id, instance_id, network_interface_id)`, each None when it is nowhere."""
        root = self.call("DescribeAddresses", **{"AllocationId.1": allocation_id})
        found = [root.findtext(f"./addressesSet/item/{name}") or None for name in ("associationId", "instanceId", "networkInterfaceId")]
        return tuple(found)


def without_namespaces(text):
    root = ElementTree.fromstring(text)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def health(endpoint=ENDPOINT):
    """The stand-in's own account of itself. Raises `OSError` while it does not answer."""
    with urllib.request.urlopen(f"{endpoint}/_localstack/health", timeout=DEADLINE_SECONDS) as answer:
        document = json.load(answer)
    up = [name for name, state in document["services"].items() if state == "running"]
    return {"version": document["version"], "up": up}


if __name__ == "__main__":
    if sys.argv[1:2] != ["health"] or len(sys.argv) > 3:
        sys.exit("usage: ec2.py health [ENDPOINT]")
    try:
        print(json.dumps(health(*sys.argv[2:])))
    except OSError as error:
        sys.exit(f"nothing answers: {error}")
