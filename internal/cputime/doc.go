// Package cputime lets tests hold work to a limit: of what the process itself has used, whatever else the machine does meanwhile.
package cputime
