// What a pod costs: ADD and DEL of bridge + host-local, ours beside those of the distribution, through one driver in one
// run. It makes namespaces of its own and leaves the machine as it was.
//
//   cni-bench [--count N] [--program PATH] [--reference DIR]
import Glibc
import NetTypes
import Netlink
import Syscalls

let options = Options(CommandLine.arguments)
do {
  try Benchmark(options).run()
} catch {
  print("cni-bench: \(error)")
  exit(1)
}
