# Written by labctl.
ui            = true
disable_mlock = false
api_addr      = "https://closed.safe.lab:8200"
cluster_addr  = "https://127.0.0.1:8201"

storage "raft" {
  path    = "/var/lib/vault"
  node_id = "closed"
}

listener "tcp" {
  address         = "127.0.0.1:8200"
  cluster_address = "127.0.0.1:8201"
  tls_cert_file   = "/etc/vault-lab/server.pem"
  tls_key_file    = "/etc/vault-lab/server.key"
  tls_min_version = "tls12"
}
