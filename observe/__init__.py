"""What Prometheus and Grafana are given: what they ask, rules, and dashboards. The Compose profile `observe` runs both.

prometheus/     what is asked, the ledger, alerts: written by hand
grafana/        where Grafana finds Prometheus and the dashboards; the dashboards themselves are written by this package
boards/         the dashboards, of which `python -m observe` writes the files

The modules know nothing of the rest of this repository: they name metrics as text, and tests look these up.
"""
