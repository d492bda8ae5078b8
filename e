PETAL_S3_SESSION_TOKEN_FILE is '/tmp/wtb/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…: a path of at most 3500 bytes is expected, each part at most 255. [config]
Settings come from the environment and no settings file (/etc/petal-s3.yaml).
