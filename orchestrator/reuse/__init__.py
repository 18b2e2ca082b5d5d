"""What a study's class modules are good for beside their own task: mending weak networks, making new tasks."""
