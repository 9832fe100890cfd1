"""The record store on disk: its resumable build, manifests, splits and reader."""
