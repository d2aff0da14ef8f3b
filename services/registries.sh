#!/bin/sh
# The Dockerfiles source this file. A build inside a company's network may need settings to reach package registries. It
# gets them as the build secrets `pip_conf`, `npmrc` and `ca`. A secret that is absent or empty changes nothing. None of
# them stays in the image.
secrets=/run/secrets
if [ -s $secrets/pip_conf ]; then export PIP_CONFIG_FILE=$secrets/pip_conf; fi
if [ -s $secrets/npmrc ]; then export NPM_CONFIG_USERCONFIG=$secrets/npmrc; fi
if [ -s $secrets/ca ]; then export PIP_CERT=$secrets/ca NODE_EXTRA_CA_CERTS=$secrets/ca; fi
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
# npm trusts the certificates of the base image, as pip does
export NODE_USE_SYSTEM_CA=1
