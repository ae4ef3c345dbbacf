"""Tokenization: conversion of text to token ids and back."""
