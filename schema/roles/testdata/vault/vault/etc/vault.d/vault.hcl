# Written by labctl.
ui            = true
disable_mlock = false
api_addr      = "https://vault.safe.lab:8200"
cluster_addr  = "https://127.0.0.1:8201"

storage "raft" {
  path    = "/var/lib/vault"
  node_id = "vault"
}

listener "tcp" {
  address         = "127.0.0.1:8200"
  cluster_address = "127.0.0.1:8201"
  tls_cert_file   = "/etc/vault-lab/server.pem"
  tls_key_file    = "/etc/vault-lab/server.key"
  tls_min_version = "tls12"
}

listener "tcp" {
  address         = "10.40.1.5:8200"
  cluster_address = "127.0.0.1:8202"
  tls_cert_file   = "/etc/vault-lab/server.pem"
  tls_key_file    = "/etc/vault-lab/server.key"
  tls_min_version = "tls12"
}

listener "tcp" {
  address         = "[fd00:40::1402:936f]:8200"
  cluster_address = "127.0.0.1:8203"
  tls_cert_file   = "/etc/vault-lab/server.pem"
  tls_key_file    = "/etc/vault-lab/server.key"
  tls_min_version = "tls12"
}
