import DormouseGenerated

// Nor when it asks for the module by its name.
let byItsModule = DormouseGenerated.engineVersion()
