export VAULT_ADDR=https://127.0.0.1:8200 VAULT_CACERT=/etc/vault-lab/ca.pem
