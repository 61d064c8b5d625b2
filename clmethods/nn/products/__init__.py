"""Products of a frozen layer with its low-rank modules, and their choice by shape."""
