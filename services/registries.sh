#!/bin/sh
# Sourced by the Dockerfiles: takes what a company's network needs to reach its package registries out of the optional
# build secrets `pip_conf`, `npmrc` and `ca`. An absent or empty one changes nothing. None of them stays in an image.
secrets=/run/secrets
if [ -s $secrets/pip_conf ]; then export PIP_CONFIG_FILE=$secrets/pip_conf; fi
if [ -s $secrets/npmrc ]; then export NPM_CONFIG_USERCONFIG=$secrets/npmrc; fi
if [ -s $secrets/ca ]; then export PIP_CERT=$secrets/ca NODE_EXTRA_CA_CERTS=$secrets/ca; fi
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
# npm trusts what the base image trusts, as pip does
export NODE_USE_SYSTEM_CA=1
