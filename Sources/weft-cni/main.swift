// The plugins in one program: the name it is called by selects one, as the runtimes do; `weft-cni PLUGIN` selects one
// by hand. All that the process does besides is in `PluginMain`.
import CNI
import Glibc

installFaultHandlers()
let arguments = CommandLine.arguments
let program = arguments.first ?? "weft-cni"
if let plugin = PluginRegistry.plugin(named: program)
  ?? (arguments.count == 2 ? PluginRegistry.plugin(named: arguments[1]) : nil)
{
  exit(PluginMain.main(plugin, plugins: PluginRegistry.all))
}
exit(PluginMain.unknownPlugin(arguments.count == 2 ? arguments[1] : program))
