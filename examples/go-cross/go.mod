module example.org/cross

go 1.19
