targets new ru-central1 new-haproxy-1 new-haproxy-2
TARGET_GROUP_NEW=$id
resource load-balancer network-load-balancer new \
	--type internal \
	--region-id ru-central1 \
	--listener 'name=primary,port=5431,target-port=5431,protocol=tcp,internal-subnet-id='"$SUBNET_NEW_RU_CENTRAL1_A" \
	--listener 'name=replicas,port=5433,target-port=5433,protocol=tcp,internal-subnet-id='"$SUBNET_NEW_RU_CENTRAL1_A" \
	--target-group 'target-group-id='"$TARGET_GROUP_NEW"',healthcheck-name=alive,healthcheck-interval=2s,healthcheck-timeout=1s,healthcheck-unhealthythreshold=2,healthcheck-healthythreshold=2,healthcheck-http-port=8405,healthcheck-http-path=/alive'
entry db.example.net. 60 \
	--folder-id "$FOLDER" \
	--name new
