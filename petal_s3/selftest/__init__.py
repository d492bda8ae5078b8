"""Prove on this machine, offline, that each part of petal-s3 gives known answers"""
