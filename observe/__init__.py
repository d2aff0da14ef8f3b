"""What Prometheus and Grafana are given: what they ask, rules, and dashboards. The Compose profile `observe` runs both.

prometheus/     what is asked, the ledger, alerts: written by hand
"""
