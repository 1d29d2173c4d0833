directory "/usr/share/redmine"
environment "production"
threads 1, 5
bind "tcp://127.0.0.1:3000"
bind "tcp://10.0.2.20:3000"
