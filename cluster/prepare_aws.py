"""Create what aws.yaml refers to: security group, key pair, instance profiles, bucket.

    python prepare_aws.py --region us-west-2 --bucket my-sweeps --ssh-from 203.0.113.7/32 \\
        --public-key ~/.ssh/lorac-sweeps.pub

It changes nothing that exists already, so it can be run again. It uses your own AWS credentials,
which stay on this computer. Nothing that it creates is billed, except what the bucket stores.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import click
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from botocore.client import BaseClient

NAME = "lorac-sweeps"
"""Of the cluster in aws.yaml, and of what is made for it."""

OWN_INSTANCES = {"StringEquals": {"ec2:ResourceTag/ray-cluster-name": NAME}}
"""Ray tags the instances of a cluster with its name."""


def bucket_rights(bucket: str) -> list[dict[str, Any]]:
    """Return the statements that let a node use the bucket."""
    arn = f"arn:aws:s3:::{bucket}"
    return [
        {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": arn},
        {
            "Effect": "Allow",
            "Action": [
                "s3:GetObject",
                "s3:PutObject",
                "s3:DeleteObject",
                "s3:AbortMultipartUpload",
            ],
            "Resource": f"{arn}/*",
        },
    ]


def launch_rights(worker_role: str) -> list[dict[str, Any]]:
    """Return the statements that let the head start and end workers, and no other instances."""
    return [
        {
            "Effect": "Allow",
            "Action": ["ec2:Describe*", "ec2:RunInstances"],
            "Resource": "*",
        },
        {
            "Effect": "Allow",
            "Action": "ec2:CreateTags",
            "Resource": "*",
            "Condition": {"StringEquals": {"ec2:CreateAction": "RunInstances"}},
        },
        {
            "Effect": "Allow",
            "Action": ["ec2:CreateTags", "ec2:TerminateInstances"],
            "Resource": "*",
            "Condition": OWN_INSTANCES,
        },
        {
            "Effect": "Allow",
            "Action": "iam:PassRole",
            "Resource": worker_role,
            "Condition": {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}},
        },
    ]


def unless_there(call: Callable[[], Any], *codes: str) -> bool:
    """Run a call that creates something; return False if it exists already."""
    try:
        call()
    except ClientError as error:
        if error.response["Error"]["Code"] not in codes:
            raise
        return False
    return True


def make_profile(iam: BaseClient, name: str, statements: list[dict[str, Any]]) -> str:
    """Create an instance profile with a role of the same name; return the role's ARN."""
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "ec2.amazonaws.com"},
                "Action": "sts:AssumeRole",
            }
        ],
    }
    there = "EntityAlreadyExists"
    unless_there(
        lambda: iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust)), there
    )
    policy = {"Version": "2012-10-17", "Statement": statements}
    iam.put_role_policy(RoleName=name, PolicyName=NAME, PolicyDocument=json.dumps(policy))
    unless_there(lambda: iam.create_instance_profile(InstanceProfileName=name), there)
    unless_there(
        lambda: iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name),
        "LimitExceeded",  # a profile holds one role
    )
    arn: str = iam.get_role(RoleName=name)["Role"]["Arn"]
    return arn


def make_security_group(ec2: BaseClient, vpc: str, ssh_from: str) -> str:
    """Create a group whose members reach each other, and that SSH reaches from one network."""
    named = [{"Name": "group-name", "Values": [NAME]}, {"Name": "vpc-id", "Values": [vpc]}]
    groups = ec2.describe_security_groups(Filters=named)["SecurityGroups"]
    group: str = (
        groups[0]["GroupId"]
        if groups
        else ec2.create_security_group(
            GroupName=NAME, VpcId=vpc, Description="Ray cluster lorac-sweeps"
        )["GroupId"]
    )
    rules = [
        {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]},
        {
            "IpProtocol": "tcp",
            "FromPort": 22,
            "ToPort": 22,
            "IpRanges": [{"CidrIp": ssh_from, "Description": "ray up, ray submit"}],
        },
    ]
    for rule in rules:
        unless_there(
            lambda rule=rule: ec2.authorize_security_group_ingress(
                GroupId=group, IpPermissions=[rule]
            ),
            "InvalidPermission.Duplicate",
        )
    return group


def make_bucket(s3: BaseClient, bucket: str, region: str) -> None:
    """Create a bucket that is never public."""
    where = {} if region == "us-east-1" else {"LocationConstraint": region}
    unless_there(
        lambda: s3.create_bucket(
            Bucket=bucket, **({"CreateBucketConfiguration": where} if where else {})
        ),
        "BucketAlreadyOwnedByYou",
    )
    s3.put_public_access_block(
        Bucket=bucket,
        PublicAccessBlockConfiguration={
            "BlockPublicAcls": True,
            "IgnorePublicAcls": True,
            "BlockPublicPolicy": True,
            "RestrictPublicBuckets": True,
        },
    )


def network(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """Check an IPv4 network that may use SSH."""
    try:
        found = ipaddress.IPv4Network(value)
    except ValueError as error:
        raise click.BadParameter(f"{error}; write ADDRESS/32 for one address") from error
    if found.prefixlen < 8:
        raise click.BadParameter(f"{value} is open to the internet; give your own address")
    return str(found)


@click.command(help=__doc__)
@click.option("--region", required=True)
@click.option("--bucket", required=True, help="Its name, without s3://.")
@click.option("--ssh-from", required=True, callback=network, metavar="ADDRESS/32")
@click.option("--public-key", required=True, type=click.Path(dir_okay=False, exists=True))
@click.option("--vpc", help="Default: the default VPC of the region.")
def main(region: str, bucket: str, ssh_from: str, public_key: str, vpc: str | None) -> None:
    """Create everything and print the lines for aws.yaml."""
    ec2, iam = boto3.client("ec2", region_name=region), boto3.client("iam", region_name=region)
    if vpc is None:
        default = [{"Name": "is-default", "Values": ["true"]}]
        found = ec2.describe_vpcs(Filters=default)["Vpcs"]
        if not found:
            raise click.ClickException(f"no default VPC in {region}; give one with --vpc")
        vpc = found[0]["VpcId"]
    subnets = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["Subnets"]
    if not subnets:
        raise click.ClickException(f"{vpc} has no subnets; make one per availability zone")
    make_bucket(boto3.client("s3", region_name=region), bucket, region)
    group = make_security_group(ec2, vpc, ssh_from)
    key = Path(public_key).expanduser().read_bytes()
    unless_there(
        lambda: ec2.import_key_pair(KeyName=NAME, PublicKeyMaterial=key),
        "InvalidKeyPair.Duplicate",
    )
    unless_there(  # the first spot instance of an account needs it
        lambda: iam.create_service_linked_role(AWSServiceName="spot.amazonaws.com"),
        *("InvalidInput", "EntityAlreadyExists"),
    )
    worker = make_profile(iam, f"{NAME}-worker", bucket_rights(bucket))
    make_profile(iam, f"{NAME}-head", [*bucket_rights(bucket), *launch_rights(worker)])
    zones = {subnet["AvailabilityZone"]: subnet["SubnetId"] for subnet in subnets}
    click.echo(
        f"region: {region}\n"
        f"availability_zone: {','.join(sorted(zones))}\n"
        f"KeyName: {NAME}\n"
        f"SubnetIds: [{', '.join(zones[zone] for zone in sorted(zones))}]\n"
        f"SecurityGroupIds: [{group}]\n"
        f"IamInstanceProfile: {NAME}-head, {NAME}-worker (as in the file)\n"
        f"--storage s3://{bucket}/sweeps"
    )


if __name__ == "__main__":
    main()
