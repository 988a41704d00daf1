module conformance

go 1.23

require github.com/michaelklishin/rabbit-hole/v2 v2.12.0
